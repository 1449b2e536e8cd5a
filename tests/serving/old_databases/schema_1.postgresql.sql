SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.audit (
    id integer NOT NULL,
    request_id character varying NOT NULL,
    "time" character varying NOT NULL,
    action character varying NOT NULL,
    snapshot character varying NOT NULL,
    document text NOT NULL
);
CREATE SEQUENCE public.audit_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.audit_id_seq OWNED BY public.audit.id;
CREATE TABLE public.counters (
    name character varying NOT NULL,
    value integer NOT NULL
);
CREATE TABLE public.targets (
    id character varying NOT NULL,
    document text NOT NULL,
    "position" integer NOT NULL,
    revision integer NOT NULL,
    created character varying NOT NULL,
    updated character varying NOT NULL
);
ALTER TABLE ONLY public.audit ALTER COLUMN id SET DEFAULT nextval('public.audit_id_seq'::regclass);
INSERT INTO public.audit VALUES (1, 'req-0', '2026-01-01T00:00:00+00:00', 'allow', 'v1', '{"request_id": "req-0", "time": "2026-01-01T00:00:00+00:00", "route": "/v1/chat/completions", "verdict": {"action": "allow", "matches": []}, "action": "allow", "snapshot": "v1", "prompt_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "prompt_tokens": 3, "response_tokens": 5, "finish_reason": "stop", "filtered": false, "seconds": 0.25}');
INSERT INTO public.audit VALUES (2, 'req-1', '2026-01-01T00:00:00+00:00', 'refuse', 'v1', '{"request_id": "req-1", "time": "2026-01-01T00:00:00+00:00", "route": "/v1/chat/completions", "verdict": {"action": "refuse", "matches": [{"target_id": "zeta", "detector": "lexical", "score": 1.0, "threshold": 1.0, "span": [0, 4], "segment": 0}]}, "action": "refuse", "snapshot": "v1", "prompt_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "prompt_tokens": 3, "response_tokens": 5, "finish_reason": "stop", "filtered": false, "seconds": 0.25}');
INSERT INTO public.counters VALUES ('schema', 1);
INSERT INTO public.counters VALUES ('revision', 4);
INSERT INTO public.targets VALUES ('zeta', '{"id": "zeta", "name": "Mina Zeta", "phrases": ["river song"], "always_on": true}', 1, 1, '2026-11-24T13:54:12.204037+00:00', '2026-11-24T13:54:12.204037+00:00');
INSERT INTO public.targets VALUES ('alpha', '{"id": "alpha", "name": "Mina Alpha", "reason": "order 7"}', 2, 2, '2026-11-24T13:54:12.204037+00:00', '2026-11-24T13:54:12.215604+00:00');
SELECT pg_catalog.setval('public.audit_id_seq', 2, true);
ALTER TABLE ONLY public.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.counters
    ADD CONSTRAINT counters_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.targets
    ADD CONSTRAINT targets_pkey PRIMARY KEY (id);
CREATE INDEX ix_audit_request_id ON public.audit USING btree (request_id);
CREATE INDEX ix_targets_position ON public.targets USING btree ("position");
