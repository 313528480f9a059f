//! Reading HPACK (RFC 7541) with a dynamic table, for one thing only: which `:path` a request has.

use std::collections::VecDeque;

use assay_agent::load::hpack::{integer, string};

const STATIC_ENTRIES: usize = 61;
const TABLE_SIZE: usize = 4096;
/// What an entry counts beside its texts (RFC 7541, 4.1).
const ENTRY_OVERHEAD: usize = 32;
/// Lengths of the names in the static table, from `:authority` to `www-authenticate`.
const STATIC_NAME_LENGTHS: [u8; STATIC_ENTRIES] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
/// The entries of the static table that are named `:path`.
const PATH_ENTRIES: std::ops::RangeInclusive<usize> = 4..=5;

/// A field of the dynamic table.
#[derive(Debug)]
struct Entry {
    size: usize,
    name_length: usize,
    is_path: bool,
    /// The value, if this is a path.
    path: Option<Vec<u8>>,
}

/// The state of one direction of a connection.
#[derive(Debug)]
pub(crate) struct HeaderBlocks {
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Default for HeaderBlocks {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, limit: TABLE_SIZE }
    }
}

struct Name {
    length: usize,
    is_path: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Fields {
    /// The value of `:path`.
    pub(crate) path: Option<Vec<u8>>,
    /// The block left the dynamic table as it was: the same bytes mean the same the next time, as long
    /// as no other block changes it.
    pub(crate) changes_nothing: bool,
}

impl HeaderBlocks {
    /// Reads a block; `None` when it is broken.
    pub(crate) fn read(&mut self, mut block: &[u8]) -> Option<Fields> {
        let mut fields = Fields { path: None, changes_nothing: true };
        while let Some(&first) = block.first() {
            if first & 0x80 != 0 {
                let index = position(&mut block, 7)?;
                match index.checked_sub(STATIC_ENTRIES + 1) {
                    Some(place) => {
                        let entry = self.entries.get(place)?;
                        if entry.is_path {
                            fields.path.clone_from(&entry.path);
                        }
                    }
                    None if PATH_ENTRIES.contains(&index) => fields.path = Some(b"/".to_vec()),
                    None if index == 0 => return None,
                    None => {}
                }
            } else if first & 0xe0 == 0x20 {
                self.limit = position(&mut block, 5)?.min(TABLE_SIZE);
                self.evict(0);
                fields.changes_nothing = false;
            } else {
                self.literal(&mut block, &mut fields)?;
            }
        }
        Some(fields)
    }

    fn literal(&mut self, block: &mut &[u8], fields: &mut Fields) -> Option<()> {
        let indexed = block.first()? & 0x40 != 0;
        let index = position(block, if indexed { 6 } else { 4 })?;
        let name = match index.checked_sub(STATIC_ENTRIES + 1) {
            Some(place) => {
                let entry = self.entries.get(place)?;
                Name { length: entry.name_length, is_path: entry.is_path }
            }
            None if index == 0 => {
                let text = text(block)?;
                Name { length: text.len(), is_path: text == b":path" }
            }
            None => Name {
                length: usize::from(STATIC_NAME_LENGTHS[index - 1]),
                is_path: PATH_ENTRIES.contains(&index),
            },
        };
        let value = text(block)?;
        let size = name.length + value.len() + ENTRY_OVERHEAD;
        let path = name.is_path.then_some(value);
        if path.is_some() {
            fields.path.clone_from(&path);
        }
        if indexed {
            fields.changes_nothing = false;
            self.evict(size);
            if size <= self.limit {
                self.size += size;
                let Name { length: name_length, is_path } = name;
                self.entries.push_front(Entry { size, name_length, is_path, path });
            }
        }
        Some(())
    }

    /// Makes room for so much.
    fn evict(&mut self, wanted: usize) {
        while self.size + wanted > self.limit {
            let Some(oldest) = self.entries.pop_back() else { return };
            self.size -= oldest.size;
        }
    }
}

fn position(block: &mut &[u8], prefix: u8) -> Option<usize> {
    usize::try_from(integer(block, prefix)?).ok()
}

fn text(block: &mut &[u8]) -> Option<Vec<u8>> {
    string(block)?.decoded()
}
