"""One file a scenario: run(bench) gives {"ours": […], peer: […]}, a list of figures each, one a repeat."""
