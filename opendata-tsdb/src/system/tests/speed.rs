//! Figures, for orientation: run with `--run-ignored all --no-capture`, in release.
