class Row: pass
def best(): pass
