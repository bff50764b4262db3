"""Records, store, statistics, runtime and errors: what every stage stands on."""
