"""Running a whole suite: the command lines of its cells as a graph that Snakemake executes."""
