"""The load generator: offered load, measured calls, a report and its plot."""
