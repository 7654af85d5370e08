-- A delay store of schema version 1, with rows as mo-router wrote them then. It is never changed.
PRAGMA user_version = 1;
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    due INTEGER NOT NULL,
    plugin TEXT NOT NULL,
    version TEXT NOT NULL,
    key TEXT,
    uuid TEXT NOT NULL,
    exchange TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    properties TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    problem TEXT
) STRICT;
CREATE INDEX message_due ON message (due);
CREATE INDEX message_uuid ON message (uuid);
CREATE UNIQUE INDEX message_key ON message (plugin, key) WHERE key IS NOT NULL;
CREATE TABLE imported (message_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

INSERT INTO message VALUES
    (3, 1700000001000000, 'p', '1', NULL, 'cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60', 'out',
     'employee.it.create', '{"message_id":"plain"}', CAST('plain' AS BLOB), 0, NULL),
    (7, 1700000002000000, 'p', '1', 'key of ✓', 'cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60', 'out',
     'employee.it.create',
     '{"content_type":"application/json","headers":{"bytes":{"Bytes":[255,0]},"decimal":{"Decimal":{"scale":2,"value":314}},"list":{"List":[{"Int8":-1},"Null"]},"mo-router-due":{"Text":"2023-11-14T22:13:22Z"},"number":{"Int":42},"table":{"Table":{"yes":{"Bool":true}}}},"priority":3,"message_id":"rich","timestamp":1700000000}',
     x'009f9296', 0, NULL),
    (9, 1700000003000000, 'p', '1', NULL, 'cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60', 'out',
     'employee.it.create', '{"message_id":"put off"}', CAST('put off' AS BLOB), 2,
     'the queue is full'),
    (12, 1700000004000000, 'p', '1', NULL, 'cf5c0a53-8a4e-4f2e-8a0e-1b2c3d4e5f60', 'out',
     'employee.it.create', '{"message_id":"sent"}', CAST('sent' AS BLOB), 0, NULL);
DELETE FROM message WHERE id = 12;
INSERT INTO imported VALUES ('agent:17');
