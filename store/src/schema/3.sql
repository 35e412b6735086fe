-- Whom this store trusts, and the signatures of troves. Facts: a signature outlives its trove's row.
CREATE TABLE trusted_keys (
  key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
  name TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE signatures (
  trove BLOB NOT NULL CHECK (length(trove) = 32),
  key BLOB NOT NULL CHECK (length(key) = 32),
  signature BLOB NOT NULL CHECK (length(signature) = 64),
  PRIMARY KEY (trove, key)
) STRICT, WITHOUT ROWID;
