"""Liquid state machines: recurrent networks that nothing trains, under readouts that are."""
