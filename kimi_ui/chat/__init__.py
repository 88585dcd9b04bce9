"""What a person does besides reading: spending, estimates, uploads, pulls."""
