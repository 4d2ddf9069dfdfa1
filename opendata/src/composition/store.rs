//! The store of a composition, in short (`store: file:./data`) or in full.

use std::fmt;
use std::path::Path;

use opendata_core::Result;
use opendata_core::store::{LocalDurability, SCHEMES, Store, StoreOptions};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::located;

/// Where the slates lie.
#[derive(Clone, Debug)]
pub(crate) struct StoreSpec {
    url: String,
    local_durability: LocalDurability,
    cache_bytes: Option<u64>,
}

/// The full form.
#[derive(Deserialize)]
#[serde(rename = "store", deny_unknown_fields)]
struct Full {
    url: String,
    #[serde(default)]
    local_durability: Durability,
    cache_bytes: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Durability {
    #[default]
    Fsync,
    OperatingSystem,
}

impl StoreSpec {
    pub(super) fn check(&self) -> Result<(), String> {
        match self.url.split_once(':') {
            Some((scheme, _)) if SCHEMES.contains(&scheme) => Ok(()),
            // On Windows a path begins with a drive, so that one letter is no scheme.
            Some((scheme, _)) if scheme.len() > 1 => Err(located::unknown("kind of store", scheme, &SCHEMES)),
            _ => Err(format!("a store is a URL such as file:./data or s3://bucket/prefix, and here is `{}`", self.url)),
        }
    }

    /// The same store at another place.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// Opens the store. A relative `file:` URL is relative to `folder`.
    pub(crate) fn open(&self, folder: &Path) -> Result<Store> {
        let defaults = StoreOptions::default();
        let options = StoreOptions {
            local_durability: self.local_durability,
            cache_bytes: self.cache_bytes.unwrap_or(defaults.cache_bytes),
            ..defaults
        };
        let relative = self.url.strip_prefix("file:").filter(|path| !path.starts_with('/') && !path.is_empty());
        match relative {
            Some(path) => Store::open(&format!("file:{}", folder.join(path).display()), &options),
            None => Store::open(&self.url, &options),
        }
    }
}

impl<'de> Deserialize<'de> for StoreSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShortOrFull;

        impl<'de> Visitor<'de> for ShortOrFull {
            type Value = StoreSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the URL of a store, or a store with its `url`")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<StoreSpec, E> {
                Ok(StoreSpec { url: url.to_owned(), local_durability: LocalDurability::Fsync, cache_bytes: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StoreSpec, A::Error> {
                let full = Full::deserialize(MapAccessDeserializer::new(map))?;
                let local_durability = match full.local_durability {
                    Durability::Fsync => LocalDurability::Fsync,
                    Durability::OperatingSystem => LocalDurability::OperatingSystem,
                };
                Ok(StoreSpec { url: full.url, local_durability, cache_bytes: full.cache_bytes })
            }
        }

        deserializer.deserialize_any(ShortOrFull)
    }
}
