"""Radiographs: files -> checked grey pixels -> the stored JPEG -> tensors."""
