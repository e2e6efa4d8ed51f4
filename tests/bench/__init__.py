"""The table of PERFORMANCE: the project beside the bare libraries, in one run."""
