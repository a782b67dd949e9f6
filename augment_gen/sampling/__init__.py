"""What is wanted of each class, and which of the drawn rows are kept."""
