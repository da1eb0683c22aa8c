//! Files that a cached step produces. They are stored with its output, and restored when that is reused.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TreeError;
use super::chosen::{ChosenFiles, LARGEST, leads_out};
use super::disk::disk;
use crate::rooted_fs::{EntryKind, RootedFs};
use crate::value::BlobRef;
use crate::verb::Blobs;

/// Files, links and directories by their path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Products(BTreeMap<String, Product>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Product {
    File {
        blob: BlobRef,
        mode: u32,
    },
    Link {
        to: String,
        /// Whether the target of the link exists.
        leads: bool,
    },
    Dir {
        mode: u32,
    },
}

impl Products {
    /// Stores the files in `dir` that match the globs. The error says what cannot be stored and why.
    pub fn keep(blobs: &dyn Blobs, dir: &Path, patterns: &[String]) -> Result<Self, String> {
        let chosen = ChosenFiles::of(dir, patterns).map_err(|e| e.to_string())?;
        if let Some(why) = chosen.hidden {
            return Err(why);
        }
        let (mut products, mut left) = (BTreeMap::new(), LARGEST);
        for (path, kind) in chosen.found {
            let at = Path::new(&path);
            let failed = |e: std::io::Error| format!("`{path}` cannot be read: {e}");
            let product = match kind {
                EntryKind::File => {
                    let bytes = chosen.fs.read(at, left).map_err(failed)?;
                    left -= bytes.len() as u64;
                    let blob = blobs.put(&bytes).map_err(|e| e.to_string())?;
                    Product::File { blob, mode: chosen.fs.mode(at).map_err(failed)? }
                }
                EntryKind::Dir => Product::Dir { mode: chosen.fs.mode(at).map_err(failed)? },
                EntryKind::Link => {
                    let to = chosen.fs.read_link(at).map_err(failed)?;
                    let to = to.to_str().filter(|_| !leads_out(&path, &to));
                    let to =
                        to.ok_or_else(|| format!("`{path}` is a link to a target outside the project"))?;
                    Product::Link { to: to.to_owned(), leads: leads(&chosen.inside, at) }
                }
                EntryKind::Other => {
                    return Err(format!("`{path}` is neither a file, a directory nor a link"));
                }
            };
            products.insert(path, product);
        }
        Ok(Self(products))
    }

    /// Restores all files into `dir`, replacing existing ones. Each file is replaced atomically.
    pub fn restore(&self, blobs: &dyn Blobs, dir: &Path) -> Result<(), TreeError> {
        let fs = RootedFs::open(dir).map_err(disk(dir))?;
        let inside = RootedFs::open(dir).map_err(disk(dir))?.following_links();
        for (path, product) in &self.0 {
            let at = Path::new(path);
            match product {
                Product::Dir { .. } => fs.make_dirs(at).map_err(disk(at))?,
                Product::File { blob, mode } => {
                    let bytes = blobs.get(&blob.digest)?;
                    fs.put_as(at, &bytes, *mode).map_err(disk(at))?;
                }
                Product::Link { to, .. } => fs.put_link(at, Path::new(to)).map_err(disk(at))?,
            }
        }
        // The content of a directory is written before its mode, which may forbid writing.
        for (path, product) in self.0.iter().rev() {
            let at = Path::new(path);
            match product {
                Product::Dir { mode } => fs.set_dir_mode(at, *mode).map_err(disk(at))?,
                Product::Link { leads: true, .. } if !leads(&inside, at) => {
                    let gone = std::io::Error::new(std::io::ErrorKind::NotFound, "its target does not exist");
                    return Err(disk(at)(gone));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn leads(inside: &RootedFs, path: &Path) -> bool {
    inside.is_file(path) || inside.is_dir(path)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make files")]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::verb::MemoryBlobs;

    #[test]
    fn all_that_is_produced_comes_back() {
        let (dir, blobs) = (tempfile::tempdir().unwrap(), MemoryBlobs::default());
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("out/d/empty")).unwrap();
        fs::write(at("out/d/run.sh"), "x").unwrap();
        fs::set_permissions(at("out/d/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
        fs::set_permissions(at("out/d/empty"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink("run.sh", at("out/d/link")).unwrap();
        symlink("d", at("out/latest")).unwrap();
        symlink("nowhere", at("out/open")).unwrap();
        symlink("../src", at("out/source")).unwrap();
        fs::create_dir(at("src")).unwrap();
        let patterns = ["out/**".to_owned()];
        let products = Products::keep(&blobs, dir.path(), &patterns).unwrap();
        let text = serde_json::to_string(&products).unwrap();
        fs::remove_dir_all(at("out")).unwrap();
        fs::create_dir_all(at("out/d")).unwrap();
        fs::write(at("out/d/link"), "stale").unwrap();
        let products: Products = serde_json::from_str(&text).unwrap();
        products.restore(&blobs, dir.path()).unwrap();
        assert_eq!(fs::read_link(at("out/d/link")).unwrap(), Path::new("run.sh"));
        assert_eq!(fs::read_to_string(at("out/latest/link")).unwrap(), "x");
        assert_eq!(fs::read_link(at("out/open")).unwrap(), Path::new("nowhere"));
        let mode = |path: &str| fs::metadata(at(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("out/d/run.sh"), mode("out/d/empty")), (0o750, 0o500));
        products.restore(&blobs, dir.path()).unwrap();
        assert_eq!(Products::keep(&blobs, dir.path(), &patterns).unwrap(), products);
        fs::remove_dir(at("src")).unwrap();
        let error = products.restore(&blobs, dir.path()).unwrap_err().to_string();
        assert!(error.contains("out/source"), "{error}");
        fs::remove_dir_all(at("out")).unwrap();
        symlink("/tmp", at("out")).unwrap();
        assert!(products.restore(&blobs, dir.path()).is_err(), "a link to a target outside the project");
    }

    #[test]
    fn what_cannot_be_kept_is_named() {
        let (dir, blobs) = (tempfile::tempdir().unwrap(), MemoryBlobs::default());
        let at = |path: &str| dir.path().join(path);
        let keep = |pattern: &str| Products::keep(&blobs, dir.path(), &[pattern.to_owned()]);
        fs::create_dir(at("out")).unwrap();
        nix::unistd::mkfifo(&at("out/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(keep("out/*").unwrap_err().contains("`out/pipe`"));
        assert!(keep("out/*.txt").is_ok());
        fs::remove_file(at("out/pipe")).unwrap();
        symlink("/etc/passwd", at("out/abroad")).unwrap();
        assert!(keep("out/*").unwrap_err().contains("`out/abroad` is a link to a target outside"));
        fs::remove_dir_all(at("out")).unwrap();
        symlink("/tmp", at("out")).unwrap();
        assert!(keep("out/**").unwrap_err().contains("`out` is a symbolic link"));
        assert!(keep("*.txt").is_ok());
    }
}
