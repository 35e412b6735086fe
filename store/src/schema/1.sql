-- store/src/schema/1.sql
-- Objects: one row for each file below objects/, that is for each link variant of a content.
CREATE TABLE objects (
  digest BLOB NOT NULL CHECK (length(digest) = 32),
  variant TEXT NOT NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
  PRIMARY KEY (digest, variant)
) STRICT, WITHOUT ROWID;
-- Ingest asks whether a large file may be here before it decides how to read it.
CREATE INDEX objects_large ON objects (size_bytes) WHERE size_bytes >= 4194304;

-- Other digests of objects, computed when first asked for. Facts: they outlive the object.
CREATE TABLE digests (
  object BLOB NOT NULL CHECK (length(object) = 32),
  digest TEXT NOT NULL,
  PRIMARY KEY (object, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX digests_by_digest ON digests (digest);

CREATE TABLE troves (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL UNIQUE CHECK (length(id) = 32),
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  flavor TEXT NOT NULL,
  label TEXT,
  arch TEXT NOT NULL,
  manifest BLOB NOT NULL
) STRICT;
CREATE INDEX troves_by_name ON troves (name, sequence);

CREATE TABLE trove_trees (
  trove INTEGER NOT NULL REFERENCES troves (sequence) ON DELETE CASCADE,
  component TEXT NOT NULL,
  tree BLOB NOT NULL CHECK (length(tree) = 32),
  PRIMARY KEY (trove, component)
) STRICT, WITHOUT ROWID;

-- What troves give; subject is the part of a capability that a lookup knows.
CREATE TABLE provides (
  subject TEXT NOT NULL,
  trove INTEGER NOT NULL REFERENCES troves (sequence) ON DELETE CASCADE,
  component TEXT NOT NULL,
  capability TEXT NOT NULL,
  PRIMARY KEY (subject, trove, component, capability)
) STRICT, WITHOUT ROWID;
CREATE INDEX provides_by_trove ON provides (trove);

CREATE TABLE actions (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  inputs TEXT NOT NULL,
  log BLOB CHECK (log IS NULL OR length(log) = 32),
  isolation TEXT NOT NULL,
  made_by_uid INTEGER NOT NULL,
  at_unix_secs INTEGER NOT NULL,
  statement TEXT NOT NULL
) STRICT;
CREATE INDEX actions_by_name ON actions (name, sequence);

CREATE TABLE action_troves (
  action INTEGER NOT NULL REFERENCES actions (sequence) ON DELETE CASCADE,
  position INTEGER NOT NULL,
  trove BLOB NOT NULL CHECK (length(trove) = 32),
  PRIMARY KEY (action, position)
) STRICT, WITHOUT ROWID;

-- What a claim about a source turned out to be. Facts: they outlive the object.
CREATE TABLE sources (
  claim TEXT NOT NULL PRIMARY KEY,
  object BLOB NOT NULL CHECK (length(object) = 32),
  size_bytes INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('file', 'tree')),
  origin TEXT NOT NULL,
  file_name TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sources_by_file_name ON sources (file_name);

CREATE TABLE stats (
  path BLOB NOT NULL PRIMARY KEY,
  device INTEGER NOT NULL,
  inode INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  recorded_ns INTEGER NOT NULL,
  object BLOB NOT NULL CHECK (length(object) = 32)
) STRICT, WITHOUT ROWID;

CREATE TABLE mirrors (
  prefix TEXT NOT NULL,
  position INTEGER NOT NULL,
  url TEXT NOT NULL,
  PRIMARY KEY (prefix, url)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  key BLOB NOT NULL CHECK (length(key) = 32),
  started_unix_secs INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('open', 'succeeded', 'failed'))
) STRICT;
CREATE INDEX logs_by_name ON logs (name, id);

-- What must stay although nothing else refers to it.
CREATE TABLE pins (
  kind TEXT NOT NULL CHECK (kind IN ('object', 'tree', 'trove')),
  target BLOB NOT NULL CHECK (length(target) = 32),
  reason TEXT NOT NULL,
  PRIMARY KEY (kind, target, reason)
) STRICT, WITHOUT ROWID;

-- Installed roots and what they refer to, whether they are mounted or not.
CREATE TABLE roots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  path BLOB NOT NULL UNIQUE
) STRICT;
CREATE TABLE root_refs (
  root INTEGER NOT NULL REFERENCES roots (id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('object', 'tree', 'trove')),
  target BLOB NOT NULL CHECK (length(target) = 32),
  PRIMARY KEY (root, kind, target)
) STRICT, WITHOUT ROWID;
