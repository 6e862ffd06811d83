"""Radiographs: files -> checked grey pixels -> the small JPEG that is kept -> tensors."""
