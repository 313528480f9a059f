-- What the SageMaker API keeps beside jobs: models, packages and their groups, and the requests behind jobs.

create table aws_resource (
    -- Order of creation, for paging.
    number         integer primary key autoincrement,
    -- As in ARNs: 'model', 'model-package-group', 'model-package', 'inference-recommendations-job'.
    kind           text    not null,
    -- As in ARNs, so <group>/<version> for a version in a group.
    name           text    not null,
    created_at_us  integer not null,
    modified_at_us integer not null,
    -- Counts changes: a change made from an older reading is refused.
    revision       integer not null default 0,
    -- Of a version in a group.
    group_name     text,
    version        integer,
    -- Of a group: the last version given out. Versions are never given out twice.
    last_version   integer not null default 0,
    approval       text,
    -- A request that may come twice: its token, and a checksum of what it asked.
    client_token   text,
    request_sha256 text,
    -- What was asked, as the API's own document.
    document_json  text    not null,
    unique (kind, name)
) strict;

create index aws_resource_by_time on aws_resource (kind, created_at_us, number);
create index aws_resource_of_group on aws_resource (group_name, version) where group_name is not null;
create unique index aws_resource_of_token on aws_resource (kind, client_token)
    where client_token is not null;

-- Which jobs measured a model.
create index aws_job_of_model on aws_resource (document_json ->> '$.subject.model_url')
    where kind = 'inference-recommendations-job';

create table aws_tag (
    -- <kind>/<name> of what it is on.
    resource text not null,
    key      text not null,
    value    text not null,
    primary key (resource, key)
) strict, without rowid;
