"""What all rooms build on and what imports none of them: time, symbols, slices, columns, file locks, wording."""
