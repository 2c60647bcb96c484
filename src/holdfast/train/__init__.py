"""Training on Lightning: settings, run folders, fit, evaluate, predict."""
