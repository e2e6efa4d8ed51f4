"""The tables of the connector `postgres`, as steps from one version to the next; a step never changes."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE scans (
        scan_id text PRIMARY KEY,
        time timestamptz NOT NULL,
        verdict text NOT NULL,
        score integer NOT NULL,
        complete boolean NOT NULL,
        examined integer NOT NULL,
        payloads integer NOT NULL,
        attempt integer NOT NULL,
        ruleset text,
        summary jsonb NOT NULL,
        document jsonb NOT NULL
    );
    CREATE INDEX scans_by_time ON scans (time DESC);
    CREATE INDEX scans_by_verdict ON scans (verdict, time DESC);
    CREATE TABLE payloads (
        scan_id text NOT NULL REFERENCES scans ON DELETE CASCADE,
        payload_id text NOT NULL,
        sha256 text NOT NULL,
        size bigint NOT NULL,
        name text NOT NULL,
        verdict text NOT NULL,
        extracted_from text,
        extracted_by text,
        PRIMARY KEY (scan_id, payload_id)
    );
    CREATE INDEX payloads_by_sha256 ON payloads (sha256);
    CREATE TABLE findings (
        scan_id text NOT NULL REFERENCES scans ON DELETE CASCADE,
        payload_id text,
        name text NOT NULL,
        score integer NOT NULL,
        plugin text NOT NULL,
        detail text NOT NULL
    );
    CREATE INDEX findings_by_name ON findings (name);
    CREATE INDEX findings_by_scan ON findings (scan_id);
    """,
    """
    CREATE TABLE attempts (scan_id text PRIMARY KEY, until double precision NOT NULL);
    """,
)
