"""The replica's life: candidate, leader, stood down."""
