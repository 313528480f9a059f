//! What the SageMaker API keeps: models, model packages and their groups, the requests behind jobs, tags.
//!
//! Resources carry their document as the API wrote it; whatever is searched, sorted or must be unique stands
//! beside it. Each call is one transaction, so requests that come at the same time see each other whole.

use std::collections::BTreeMap;

use assay_sagemaker::shapes::{
    lists::{SortKey, SortOrder},
    packages::ApprovalStatus,
    tags::Tag,
};
use jiff::Timestamp;
use serde_json::Value;
use sqlx::{AssertSqlSafe, SqliteConnection, sqlite::SqliteRow};

use super::{
    Store, StoreError, broken,
    row::{column, execute, from_json, json, micros, timestamp},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Model,
    /// A group of model packages.
    Group,
    /// A model package, or a version of one in a group.
    Package,
    /// What was asked of a recommendation job.
    Job,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Group => "model-package-group",
            Self::Package => "model-package",
            Self::Job => "inference-recommendations-job",
        }
    }
}

/// A resource to be added.
#[derive(Clone, Debug)]
pub(crate) struct NewResource {
    pub(crate) kind: Kind,
    pub(crate) name: NewName,
    pub(crate) created_at: Timestamp,
    pub(crate) approval: Option<ApprovalStatus>,
    /// Of a request that may come twice.
    pub(crate) once: Option<Once>,
    pub(crate) document: Value,
    pub(crate) tags: Vec<Tag>,
}

impl NewResource {
    /// One with a name of its own, created by a request that does not come twice.
    pub(crate) fn named(kind: Kind, name: String, created_at: Timestamp, document: Value) -> Self {
        let name = NewName::Given(name);
        Self { kind, name, created_at, approval: None, once: None, document, tags: Vec::new() }
    }
}

/// What it is going to be called.
#[derive(Clone, Debug)]
pub(crate) enum NewName {
    Given(String),
    /// `<group>/<the group's next version>`.
    VersionOf(String),
}

/// Tells a request that comes again from another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Once {
    pub(crate) token: String,
    pub(crate) request_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is there now, under this name.
    New(String),
    /// The same request came before; this is what it added.
    Before(String),
    NameTaken,
    /// There is no such group.
    NoGroup,
    /// The client's token came with another request.
    TokenReused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    Gone,
    NotThere,
    /// Packages are in the group.
    NotEmpty,
}

/// A resource as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// Counts resources in order of creation.
    pub(crate) number: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) modified_at: Timestamp,
    pub(crate) revision: i64,
    pub(crate) version_of: Option<(String, u32)>,
    pub(crate) approval: Option<ApprovalStatus>,
    pub(crate) document: Value,
}

impl Resource {
    /// What lists by name are sorted by.
    pub(crate) fn label(&self) -> &str {
        self.version_of.as_ref().map_or(&self.name, |(group, _)| group)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ResourceQuery {
    pub(crate) kind: Kind,
    pub(crate) name_contains: Option<String>,
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) approval: Option<ApprovalStatus>,
    /// Only versions in this group.
    pub(crate) group: Option<String>,
    /// Only packages in groups, or only those in none.
    pub(crate) versioned: Option<bool>,
    pub(crate) sort_by: SortKey,
    pub(crate) order: SortOrder,
    pub(crate) after: Option<Position>,
    pub(crate) limit: usize,
}

/// The last entry of a page.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Position {
    pub(crate) label: String,
    pub(crate) created_at: Timestamp,
    pub(crate) number: i64,
}

impl ResourceQuery {
    /// Everything of one kind, oldest first.
    pub(crate) fn all(kind: Kind) -> Self {
        Self {
            kind,
            name_contains: None,
            created_after: None,
            created_before: None,
            approval: None,
            group: None,
            versioned: None,
            sort_by: SortKey::CreationTime,
            order: SortOrder::Ascending,
            after: None,
            limit: usize::MAX,
        }
    }
}

const COLUMNS: &str = "number, name, created_at_us, modified_at_us, revision, group_name, version, \
                       approval, document_json";

impl Store {
    pub(crate) async fn add(&self, new: NewResource) -> Result<Added, StoreError> {
        let write = async {
            let mut transaction = self.writer.begin().await.map_err(broken("write to"))?;
            let added = add(&mut transaction, &new).await?;
            if let Added::New(name) = &added {
                for tag in &new.tags {
                    put_tag(&mut transaction, &path(new.kind, name), tag).await?;
                }
                transaction.commit().await.map_err(broken("write to"))?;
            }
            Ok(added)
        };
        self.fail_fast.write(write).await
    }

    pub(crate) async fn resource(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<Resource>, StoreError> {
        let sql = format!("select {COLUMNS} from aws_resource where kind = $1 and name = $2");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(kind.word())
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(broken("read a resource from"))?;
        row.map(|row| resource(kind, &row)).transpose()
    }

    /// Resources of one kind, in order.
    pub(crate) async fn resources(
        &self,
        query: &ResourceQuery,
    ) -> Result<Vec<Resource>, StoreError> {
        let after = query.after.as_ref();
        let rows = sqlx::query(AssertSqlSafe(select(query)))
            .bind(query.kind.word())
            .bind(query.name_contains.as_deref())
            .bind(query.created_after.map(micros))
            .bind(query.created_before.map(micros))
            .bind(query.approval.map(ApprovalStatus::word))
            .bind(query.group.as_deref())
            .bind(query.versioned)
            .bind(after.map(|position| position.number))
            .bind(after.map(|position| position.label.as_str()))
            .bind(after.map(|position| micros(position.created_at)))
            .bind(i64::try_from(query.limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(broken("read resources from"))?;
        rows.iter().map(|row| resource(query.kind, row)).collect()
    }

    /// How many versions each group has, and the last of them.
    pub(crate) async fn versions_of_groups(
        &self,
    ) -> Result<BTreeMap<String, (u64, u32)>, StoreError> {
        let rows: Vec<(String, i64, u32)> = sqlx::query_as(
            "select group_name, count(*), max(version) from aws_resource
             where group_name is not null group by group_name",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(broken("read packages from"))?;
        let versions = rows.into_iter();
        Ok(versions.map(|(group, count, latest)| (group, (count.unsigned_abs(), latest))).collect())
    }

    /// Changes a resource, unless it was changed or removed since it was read: then `false`.
    pub(crate) async fn change(&self, changed: &Resource) -> Result<bool, StoreError> {
        let write = async {
            let changed = sqlx::query(
                "update aws_resource set revision = revision + 1, modified_at_us = $4, approval = $5,
                 document_json = $6 where kind = $1 and name = $2 and revision = $3",
            )
            .bind(changed.kind.word())
            .bind(&changed.name)
            .bind(changed.revision)
            .bind(micros(changed.modified_at))
            .bind(changed.approval.map(ApprovalStatus::word))
            .bind(json("resource", &changed.document)?)
            .execute(&self.writer)
            .await
            .map_err(broken("write a resource to"))?;
            Ok(changed.rows_affected() == 1)
        };
        self.fail_fast.write(write).await
    }

    /// Removes a resource with its tags.
    pub(crate) async fn remove(&self, kind: Kind, name: &str) -> Result<Removed, StoreError> {
        let write = async {
            let mut transaction = self.writer.begin().await.map_err(broken("write to"))?;
            if kind == Kind::Group && has_packages(&mut transaction, name).await? {
                return Ok(Removed::NotEmpty);
            }
            let removed = sqlx::query("delete from aws_resource where kind = $1 and name = $2")
                .bind(kind.word())
                .bind(name)
                .execute(&mut *transaction)
                .await
                .map_err(broken("delete a resource from"))?;
            if removed.rows_affected() == 0 {
                return Ok(Removed::NotThere);
            }
            sqlx::query("delete from aws_tag where resource = $1")
                .bind(path(kind, name))
                .execute(&mut *transaction)
                .await
                .map_err(broken("delete tags from"))?;
            transaction.commit().await.map_err(broken("write to"))?;
            Ok(Removed::Gone)
        };
        self.fail_fast.write(write).await
    }

    /// The last completed job of this API that measured what lies at a URL.
    pub(crate) async fn last_job_of(&self, model_url: &str) -> Result<Option<String>, StoreError> {
        // The kind stands there as a word: only then is the index over such rows used.
        let sql = format!(
            "select job.name from aws_resource join job on job.name = aws_resource.name
             where aws_resource.kind = '{}' and document_json ->> '$.subject.model_url' = $1
             and job.status = 'completed' order by job.number desc limit 1",
            Kind::Job.word()
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(model_url)
            .fetch_optional(&self.readers)
            .await
            .map_err(broken("read jobs from"))
    }

    /// The tags of `<kind>/<name>`, by key.
    pub(crate) async fn tags(&self, resource: &str) -> Result<Vec<Tag>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(broken("read tags from"))?;
        tags(&mut connection, resource).await
    }

    /// Sets tags and gives all of them; `None`, and nothing is set, when that were more than `most`.
    pub(crate) async fn put_tags(
        &self,
        resource: &str,
        given: &[Tag],
        most: usize,
    ) -> Result<Option<Vec<Tag>>, StoreError> {
        let write = async {
            let mut transaction = self.writer.begin().await.map_err(broken("write to"))?;
            for tag in given {
                put_tag(&mut transaction, resource, tag).await?;
            }
            let all = tags(&mut transaction, resource).await?;
            if all.len() > most {
                return Ok(None);
            }
            transaction.commit().await.map_err(broken("write to"))?;
            Ok(Some(all))
        };
        self.fail_fast.write(write).await
    }

    /// Removes tags; those that are not there are no matter.
    pub(crate) async fn remove_tags(
        &self,
        resource: &str,
        keys: &[String],
    ) -> Result<(), StoreError> {
        let write = async {
            let mut transaction = self.writer.begin().await.map_err(broken("write to"))?;
            for key in keys {
                sqlx::query("delete from aws_tag where resource = $1 and key = $2")
                    .bind(resource)
                    .bind(key)
                    .execute(&mut *transaction)
                    .await
                    .map_err(broken("delete tags from"))?;
            }
            transaction.commit().await.map_err(broken("write to"))
        };
        self.fail_fast.write(write).await
    }
}

async fn add(db: &mut SqliteConnection, new: &NewResource) -> Result<Added, StoreError> {
    if let Some(once) = &new.once
        && let Some(before) = added_before(db, new.kind, once).await?
    {
        return Ok(before);
    }
    let (name, group, version) = match &new.name {
        NewName::Given(name) => (name.clone(), None, None),
        NewName::VersionOf(group) => match next_version(db, group).await? {
            Some(version) => (format!("{group}/{version}"), Some(group), Some(version)),
            None => return Ok(Added::NoGroup),
        },
    };
    let inserted = sqlx::query(
        "insert into aws_resource (kind, name, created_at_us, modified_at_us, group_name, version,
         approval, client_token, request_sha256, document_json)
         values ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9) on conflict (kind, name) do nothing",
    )
    .bind(new.kind.word())
    .bind(&name)
    .bind(micros(new.created_at))
    .bind(group)
    .bind(version)
    .bind(new.approval.map(ApprovalStatus::word))
    .bind(new.once.as_ref().map(|once| &once.token))
    .bind(new.once.as_ref().map(|once| &once.request_sha256))
    .bind(json("resource", &new.document)?)
    .execute(db)
    .await
    .map_err(broken("write a resource to"))?;
    Ok(if inserted.rows_affected() == 1 { Added::New(name) } else { Added::NameTaken })
}

async fn added_before(
    db: &mut SqliteConnection,
    kind: Kind,
    once: &Once,
) -> Result<Option<Added>, StoreError> {
    let before: Option<(String, String)> = sqlx::query_as(
        "select name, request_sha256 from aws_resource where kind = $1 and client_token = $2",
    )
    .bind(kind.word())
    .bind(&once.token)
    .fetch_optional(db)
    .await
    .map_err(broken("read a resource from"))?;
    Ok(before.map(|(name, request_sha256)| {
        if request_sha256 == once.request_sha256 { Added::Before(name) } else { Added::TokenReused }
    }))
}

async fn next_version(db: &mut SqliteConnection, group: &str) -> Result<Option<u32>, StoreError> {
    sqlx::query_scalar(
        "update aws_resource set last_version = last_version + 1 where kind = $1 and name = $2
         returning last_version",
    )
    .bind(Kind::Group.word())
    .bind(group)
    .fetch_optional(db)
    .await
    .map_err(broken("write a group to"))
}

async fn has_packages(db: &mut SqliteConnection, group: &str) -> Result<bool, StoreError> {
    sqlx::query_scalar("select exists (select 1 from aws_resource where group_name = $1)")
        .bind(group)
        .fetch_one(db)
        .await
        .map_err(broken("read packages from"))
}

/// Only words of this file go into the text; every value is bound.
fn select(query: &ResourceQuery) -> String {
    let (comparison, direction) = match query.order {
        SortOrder::Ascending => (">", "asc"),
        SortOrder::Descending => ("<", "desc"),
    };
    let (key, position) = match query.sort_by {
        SortKey::Name => ("coalesce(group_name, name)", "$9"),
        SortKey::CreationTime => ("created_at_us", "$10"),
    };
    format!(
        "select {COLUMNS} from aws_resource where kind = $1
         and ($2 is null or instr(name, $2) > 0)
         and ($3 is null or created_at_us > $3)
         and ($4 is null or created_at_us < $4)
         and ($5 is null or approval = $5)
         and ($6 is null or group_name = $6)
         and ($7 is null or (group_name is not null) = $7)
         and ($8 is null or ({key}, number) {comparison} ({position}, $8))
         order by {key} {direction}, number {direction} limit $11"
    )
}

fn resource(kind: Kind, row: &SqliteRow) -> Result<Resource, StoreError> {
    let group: Option<String> = column(row, "group_name")?;
    let version: Option<u32> = column(row, "version")?;
    let approval: Option<String> = column(row, "approval")?;
    let approval =
        approval.map(|word| from_json("an approval", &format!("\"{word}\""))).transpose()?;
    let document: String = column(row, "document_json")?;
    Ok(Resource {
        kind,
        name: column(row, "name")?,
        number: column(row, "number")?,
        created_at: timestamp(column(row, "created_at_us")?)?,
        modified_at: timestamp(column(row, "modified_at_us")?)?,
        revision: column(row, "revision")?,
        version_of: group.zip(version),
        approval,
        document: from_json("a resource", &document)?,
    })
}

fn path(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.word())
}

async fn put_tag(db: &mut SqliteConnection, resource: &str, tag: &Tag) -> Result<(), StoreError> {
    let query = sqlx::query(
        "insert into aws_tag (resource, key, value) values ($1, $2, $3)
         on conflict (resource, key) do update set value = excluded.value",
    )
    .bind(resource)
    .bind(&tag.key)
    .bind(&tag.value);
    execute(db, "write a tag to", query).await
}

async fn tags(db: &mut SqliteConnection, resource: &str) -> Result<Vec<Tag>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("select key, value from aws_tag where resource = $1 order by key")
            .bind(resource)
            .fetch_all(db)
            .await
            .map_err(broken("read tags from"))?;
    Ok(rows.into_iter().map(|(key, value)| Tag { key, value }).collect())
}
