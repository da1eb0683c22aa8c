//! A tree as a reproducible tar archive.

use std::collections::BTreeSet;

use super::{Tree, TreeError};
use crate::verb::Blobs;

impl Tree {
    /// A tar archive of the tree: directories 0755, files 0644 or 0755, sorted, all times and owners zero.
    pub fn tar(&self, blobs: &dyn Blobs) -> Result<Vec<u8>, TreeError> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut seen = BTreeSet::new();
        for (path, file) in &self.files {
            for (end, _) in path.match_indices('/') {
                if seen.insert(&path[..end]) {
                    let mut header = header(0, 0o755, tar::EntryType::Directory);
                    append(&mut archive, &mut header, &format!("{}/", &path[..end]), &[])?;
                }
            }
            let bytes = blobs.get(&file.blob.digest)?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            let mut header = header(bytes.len() as u64, mode, tar::EntryType::Regular);
            append(&mut archive, &mut header, path, &bytes)?;
        }
        archive.into_inner().map_err(|e| broken("", &e))
    }
}

fn header(size: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(kind);
    header
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    header: &mut tar::Header,
    path: &str,
    bytes: &[u8],
) -> Result<(), TreeError> {
    archive.append_data(header, path, bytes).map_err(|e| broken(path, &e))
}

fn broken(path: &str, error: &std::io::Error) -> TreeError {
    TreeError::Path { path: path.to_owned(), reason: format!("it does not fit in a tar archive: {error}") }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn an_archive_is_sorted_and_without_times() {
        let blobs = MemoryBlobs::default();
        let mut tree = Tree::new();
        let long = format!("{}/z.txt", "deep/".repeat(40).trim_end_matches('/'));
        for path in ["b.txt", long.as_str(), "a/run.sh"] {
            tree.put(&blobs, path, if path.ends_with("sh") { b"#!/bin/sh" } else { b"text" }).unwrap();
        }
        let bytes = tree.tar(&blobs).unwrap();
        assert_eq!(bytes, tree.clone().tar(&blobs).unwrap());
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!((entry.header().mtime().unwrap(), entry.header().uid().unwrap()), (0, 0));
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((path, entry.header().mode().unwrap(), text));
        }
        assert_eq!(found[0], ("a/".to_owned(), 0o755, String::new()));
        assert_eq!(found[1], ("a/run.sh".to_owned(), 0o755, "#!/bin/sh".to_owned()));
        assert_eq!(found[2], ("b.txt".to_owned(), 0o644, "text".to_owned()));
        assert_eq!(found.last().unwrap().0, long);
    }
}
