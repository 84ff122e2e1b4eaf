//! What commands report of runs whose rows are lost, damaged or reordered.
