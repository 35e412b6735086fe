-- Garbage that commands under way may still use: out of sight for everybody who began later, its files still there.
-- `epoch` is the one in which it was found; who holds that epoch or an earlier one may use it.
CREATE TABLE condemned (
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  variant TEXT NOT NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
  epoch INTEGER NOT NULL,
  PRIMARY KEY (digest, variant)
) STRICT, WITHOUT ROWID;
CREATE TABLE condemned_troves (
  id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 32),
  sequence INTEGER NOT NULL,
  manifest BLOB NOT NULL,
  epoch INTEGER NOT NULL
) STRICT;

-- One row: the epoch that a command holds which begins now.
CREATE TABLE epoch (number INTEGER NOT NULL) STRICT;
INSERT INTO epoch (number) VALUES (1);
