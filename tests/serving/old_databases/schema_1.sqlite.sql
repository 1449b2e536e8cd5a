BEGIN TRANSACTION;
CREATE TABLE audit (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	request_id VARCHAR NOT NULL, 
	time VARCHAR NOT NULL, 
	action VARCHAR NOT NULL, 
	snapshot VARCHAR NOT NULL, 
	document TEXT NOT NULL
);
INSERT INTO "audit" VALUES(1,'req-0','2026-01-01T00:00:00+00:00','allow','v1','{"request_id": "req-0", "time": "2026-01-01T00:00:00+00:00", "route": "/v1/chat/completions", "verdict": {"action": "allow", "matches": []}, "action": "allow", "snapshot": "v1", "prompt_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "prompt_tokens": 3, "response_tokens": 5, "finish_reason": "stop", "filtered": false, "seconds": 0.25}');
INSERT INTO "audit" VALUES(2,'req-1','2026-01-01T00:00:00+00:00','refuse','v1','{"request_id": "req-1", "time": "2026-01-01T00:00:00+00:00", "route": "/v1/chat/completions", "verdict": {"action": "refuse", "matches": [{"target_id": "zeta", "detector": "lexical", "score": 1.0, "threshold": 1.0, "span": [0, 4], "segment": 0}]}, "action": "refuse", "snapshot": "v1", "prompt_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "prompt_tokens": 3, "response_tokens": 5, "finish_reason": "stop", "filtered": false, "seconds": 0.25}');
CREATE TABLE counters (
	name VARCHAR NOT NULL, 
	value INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "counters" VALUES('revision',4);
INSERT INTO "counters" VALUES('schema',1);
CREATE TABLE targets (
	id VARCHAR NOT NULL, 
	document TEXT NOT NULL, 
	position INTEGER NOT NULL, 
	revision INTEGER NOT NULL, 
	created VARCHAR NOT NULL, 
	updated VARCHAR NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "targets" VALUES('zeta','{"id": "zeta", "name": "Mina Zeta", "phrases": ["river song"], "always_on": true}',1,1,'2026-11-24T13:54:09.810120+00:00','2026-11-24T13:54:09.810120+00:00');
INSERT INTO "targets" VALUES('alpha','{"id": "alpha", "name": "Mina Alpha", "reason": "order 7"}',2,2,'2026-11-24T13:54:09.810120+00:00','2026-11-24T13:54:09.826938+00:00');
CREATE INDEX ix_targets_position ON targets (position);
CREATE INDEX ix_audit_request_id ON audit (request_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',2);
COMMIT;
