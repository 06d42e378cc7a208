"""What is true about money, periods and attempts; pure, no I/O, no clock."""
