def fuzz(o): return []
