-- Times are whole microseconds since 1970 (UTC), sizes bytes, money pico-dollars. Columns that end in
-- _json hold domain types as serde writes them; whatever is searched or joined has a column of its own.

create table job (
    name            text    primary key not null,
    -- Order of creation, for paging.
    number          integer not null unique,
    created_at_us   integer not null,
    finished_at_us  integer,
    status          text    not null,
    reason          text    not null,
    spec_json       text    not null,
    state_json      text    not null,
    -- Candidates and what they cost when that was decided, without the trials; 'null' until then.
    plan_json       text    not null,
    recommended_json text
) strict;

create index job_by_status on job (status, number);

-- Names of deleted jobs stay taken.
create table deleted_job (
    name          text    primary key not null,
    number        integer not null,
    deleted_at_us integer not null
) strict;

create table trial (
    id                  text    primary key not null,
    job                 text    not null references job (name) on delete cascade,
    -- What is run, as it was planned.
    planned_json        text    not null,
    state               text    not null,
    -- History and state, the outcome included.
    state_json          text    not null,
    -- Who has it, and until when; null unless leased.
    agent               text,
    lease_expires_at_us integer,
    -- The lease whose steps count; steps under other leases belong to runs that were discarded.
    run_token           text
) strict;

create index trial_of_job on trial (job, state);

create table step (
    trial       text    not null references trial (id) on delete cascade,
    lease_token text    not null,
    step_index  integer not null,
    -- An assay.v1.StepResult without its histogram.
    result      blob    not null,
    -- Latencies in HdrHistogram's V2 encoding; null when there are none.
    histogram   blob,
    primary key (trial, lease_token, step_index)
) strict, without rowid;

create table event (
    job         text    not null references job (name) on delete cascade,
    sequence    integer not null,
    at_us       integer not null,
    -- Either the event itself, or the step that it tells of.
    event_json  text,
    step_trial  text,
    step_token  text,
    step_index  integer,
    primary key (job, sequence),
    check ((event_json is null) = (step_trial is not null))
) strict, without rowid;

create table agent (
    name            text    primary key not null,
    facts_json      text    not null,
    draining        integer not null,
    last_seen_at_us integer not null
) strict;

create table own_price (
    instance_type     text    not null,
    region            text    not null,
    pico_usd_per_hour integer not null,
    source            text    not null,
    as_of             text    not null,
    primary key (instance_type, region)
) strict;

create table artifact (
    sha256       text    primary key not null,
    name         text    not null,
    size_bytes   integer not null,
    stored_at_us integer not null
) strict;
