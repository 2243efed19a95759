    .set COMPUTES, 1
