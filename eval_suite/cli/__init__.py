"""One file per verb of the command line: flags in, stages called, one closing line out."""
