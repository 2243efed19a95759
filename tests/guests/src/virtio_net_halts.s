    .set COMPUTES, 0
