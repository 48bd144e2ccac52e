"""The ground floor: numbers, flags and byte layouts.  Data and shapes, no behaviour; imports nothing of ours."""
