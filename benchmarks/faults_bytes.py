def bytes_of_slides(o): return []
