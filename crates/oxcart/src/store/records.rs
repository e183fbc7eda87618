//! What the store keeps of layers: a record under the layer's key, and with it the map that its blob is
//! made from, where the blob itself is not kept.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use oci::layer::Layer;
use oci::{Digest, HashingWriter, SpliceMap};
use serde::{Deserialize, Serialize};

use super::{Store, remove, touch};
use crate::diagnostics::Failure;

/// The version of a record's form. It is part of its name: records of other forms are left alone.
const VERSION: u32 = 3;

/// What the store knows of a layer that was built.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) layer: Layer,
    /// Whether the blob itself is kept (it would have to be compressed again), or a map of it.
    pub(crate) kept: Kept,
    /// What building it had to say, said again whenever it is used.
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    Blob,
    Map,
    /// A registry has it: there is no record in the store.
    Nothing,
}

impl Store {
    /// The record of the layer with this key, where it is here and whole.
    pub(crate) fn layer(&self, key: &Digest) -> Option<LayerRecord> {
        let (record, _) = self.open_layer(key).ok()?;
        if record.kept == Kept::Blob && !self.has_blob(&record.layer.digest) {
            return None;
        }
        touch(&self.layer_path(key));
        Some(record)
    }

    /// The map of the layer with this key.
    pub(crate) fn splice_map(&self, key: &Digest) -> io::Result<SpliceMap> {
        let (_, rest) = self.open_layer(key)?;
        let mut reader = BufReader::new(zstd::Decoder::with_buffer(rest)?);
        let map = SpliceMap::from_reader(&mut reader).map_err(io::Error::other)?;
        // Only at its end is a stream seen to be whole.
        io::copy(&mut reader, &mut io::sink())?;
        Ok(map)
    }

    /// Keeps a layer's record, and its map where that is what is kept.
    ///
    /// The file has the record's length, the record as JSON, its sha256, and the map, compressed. The
    /// map has no checksum: what is made from it is checked against the layer's digest.
    pub(crate) fn put_layer(
        &self,
        key: &Digest,
        record: &LayerRecord,
        map: Option<&SpliceMap>,
    ) -> Result<(), Failure> {
        self.place_record(&self.layer_path(key), |out| {
            let header = oci::json::canonical(record);
            let length = u32::try_from(header.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_le_bytes())?;
            out.write_all(&header)?;
            out.write_all(Digest::of(&header).as_bytes())?;
            if let Some(map) = map {
                let mut bytes = Vec::new();
                map.to_writer(&mut bytes).map_err(io::Error::other)?;
                out.write_all(&super::packed(&bytes)?)?;
            }
            Ok(())
        })
    }

    /// Forgets the layer with this key.
    pub(crate) fn remove_layer(&self, key: &Digest) -> Result<(), Failure> {
        remove(&self.layer_path(key))
    }

    /// Whether the blob of the layer with this key, which has a record, comes out as the record says.
    pub(crate) fn gives_its_blob(&self, key: &Digest, record: &LayerRecord) -> bool {
        let mut hasher = HashingWriter::new(io::sink());
        let source = |digest: &Digest| {
            self.source(digest, &digest.to_string())
                .map_err(io::Error::other)
        };
        let written = self.splice_map(key).and_then(|map| {
            map.write_blob(&source, &mut hasher)
                .map_err(io::Error::other)
        });
        let (_, digest, size) = hasher.finish();
        written.is_ok() && (digest, size) == (record.layer.digest, record.layer.size)
    }

    fn layer_path(&self, key: &Digest) -> PathBuf {
        let name = format!("{}.{VERSION}", key.hex());
        self.root.join("layers").join(name)
    }

    /// The record, and what follows it.
    fn open_layer(&self, key: &Digest) -> io::Result<(LayerRecord, BufReader<File>)> {
        let mut reader = BufReader::new(File::open(self.layer_path(key))?);
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        let mut header = Vec::new();
        reader
            .by_ref()
            .take(u64::from(u32::from_le_bytes(length)))
            .read_to_end(&mut header)?;
        let mut checksum = [0; 32];
        reader.read_exact(&mut checksum)?;
        if Digest::of(&header).as_bytes() != &checksum {
            return Err(io::Error::other("the record is damaged"));
        }
        Ok((serde_json::from_slice(&header)?, reader))
    }
}

#[cfg(test)]
mod tests {
    use oci::DiffId;

    use super::*;

    #[test]
    fn a_record_with_any_byte_changed_or_missing_is_no_record() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(Some(directory.path())).unwrap();
        let key = Digest::of(b"key");
        let record = LayerRecord {
            layer: Layer {
                digest: Digest::of(b""),
                diff_id: DiffId(Digest::of(b"diff")),
                size: 0,
                media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            },
            kept: Kept::Map,
            warnings: Vec::new(),
        };
        store
            .put_layer(&key, &record, Some(&SpliceMap::new()))
            .unwrap();
        assert!(store.gives_its_blob(&key, &store.layer(&key).unwrap()));
        let path = store.layer_path(&key);
        let whole = std::fs::read(&path).unwrap();
        let checked = 4 + oci::json::canonical(&record).len() + 32;
        for at in 0..checked {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(store.layer(&key).is_none(), "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(store.layer(&key).is_none(), "the first {at} bytes");
        }
        for at in checked..whole.len() {
            std::fs::write(&path, &whole[..at]).unwrap();
            let record = store.layer(&key).unwrap();
            assert!(!store.gives_its_blob(&key, &record), "the first {at} bytes");
        }
    }
}
