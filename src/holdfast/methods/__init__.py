"""One file per method: a frozen dataclass of hyper-parameters that calls `holdfast.functional`."""
