"""Pure tensor maths in the notation of the papers: no state, no input or output."""
