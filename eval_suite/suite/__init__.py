"""A suite: a file to rows, rows to a plan, the plan to jobs that Snakemake runs."""
