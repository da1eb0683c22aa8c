//! Archives that are copied into a container: built from files of the tree or of another container, with
//! size limits.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use hyper::body::Bytes;
use tar::{EntryType, Header};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Most entries of an archive.
const ENTRIES: usize = 1_000_000;
/// Bytes per chunk.
const PIECE: usize = 64 << 10;

/// Owner of copied files, and their mode if one is given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CopiedAttributes {
    pub(super) owner: (u64, u64),
    pub(super) mode: Option<u32>,
}

/// Writes an archive whose size is bounded.
pub(super) struct Packer<W: Write> {
    out: tar::Builder<W>,
    looks: CopiedAttributes,
    left: u64,
    most: u64,
    entries: usize,
    cancel: CancellationToken,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W, looks: CopiedAttributes, most: u64, cancel: &CancellationToken) -> Self {
        let out = tar::Builder::new(out);
        Self { out, looks, left: most, most, entries: 0, cancel: cancel.clone() }
    }

    fn count(&mut self, bytes: u64) -> io::Result<()> {
        self.entries += 1;
        let is_small = self.entries <= ENTRIES && bytes <= self.left;
        self.left = self.left.saturating_sub(bytes);
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("the copy was cancelled"));
        }
        if is_small { Ok(()) } else { Err(too_much(self.most)) }
    }

    fn header(&self, kind: EntryType, mode: u32, mtime: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(self.looks.mode.unwrap_or(mode) & 0o7777);
        header.set_uid(self.looks.owner.0);
        header.set_gid(self.looks.owner.1);
        header.set_mtime(mtime);
        header.set_size(0);
        header
    }

    pub(super) fn dir(&mut self, path: &Path) -> io::Result<()> {
        self.count(0)?;
        // A given mode applies to files only.
        let mut header = self.header(EntryType::Directory, 0o755, 0);
        header.set_mode(0o755);
        self.out.append_data(&mut header, inside(path), io::empty())
    }

    pub(super) fn file(&mut self, path: &Path, bytes: &[u8], executable: bool) -> io::Result<()> {
        self.count(bytes.len() as u64)?;
        let mut header = self.header(EntryType::Regular, if executable { 0o755 } else { 0o644 }, 0);
        header.set_size(bytes.len() as u64);
        self.out.append_data(&mut header, inside(path), bytes)
    }

    /// Copies entries of another archive. `place` maps the path of each to its new path. Returns the number
    /// of entries.
    pub(super) fn take(
        &mut self,
        from: impl Read,
        place: &mut dyn FnMut(&Path, bool) -> Option<PathBuf>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        for entry in tar::Archive::new(from).entries()? {
            let mut entry = entry?;
            let kind = entry.header().entry_type();
            let path = entry.path()?.into_owned();
            let Some(to) = place(&path, kind.is_dir()) else { continue };
            let (mode, mtime) = (entry.header().mode()?, entry.header().mtime().unwrap_or_default());
            let size =
                if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() { entry.size() } else { 0 };
            self.count(size)?;
            let link = entry.link_name()?.map(std::borrow::Cow::into_owned);
            let mut header = self.header(kind, mode, mtime);
            let to = inside(&to);
            match (kind, link) {
                (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => {
                    header.set_entry_type(EntryType::Regular);
                    header.set_size(size);
                    self.out.append_data(&mut header, to, &mut entry)?;
                }
                (EntryType::Directory, _) if to.as_os_str().is_empty() => continue,
                (EntryType::Directory | EntryType::Fifo, _) => {
                    self.out.append_data(&mut header, to, io::empty())?;
                }
                (EntryType::Symlink, Some(link)) => {
                    header.set_mode(0o777);
                    self.out.append_link(&mut header, to, &link)?;
                }
                (EntryType::Link, Some(link)) => {
                    let Some(other) = place(&link, false) else { continue };
                    self.out.append_link(&mut header, to, inside(&other))?;
                }
                // Devices and special entries.
                _ => continue,
            }
            taken += 1;
        }
        Ok(taken)
    }

    pub(super) fn end(mut self) -> io::Result<u64> {
        self.out.finish()?;
        self.out.into_inner()?.flush()?;
        Ok(self.most - self.left)
    }
}

fn too_much(most: u64) -> io::Error {
    io::Error::other(format!("the copied files have more than {most} bytes or {ENTRIES} entries"))
}

/// A container path in the form that archives use.
fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// A decoder for an archive that `ADD` unpacks; `None` for other files.
pub(super) fn archive(bytes: &[u8]) -> io::Result<Option<Box<dyn Read + '_>>> {
    let is_tar = |bytes: &[u8]| bytes.get(257..262) == Some(b"ustar");
    if is_tar(bytes) {
        return Ok(Some(Box::new(bytes)));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut head = Vec::new();
        // Broken data is an ordinary file.
        let read = flate2::read::MultiGzDecoder::new(bytes).take(512).read_to_end(&mut head);
        let unpacks = read.is_ok() && is_tar(&head);
        return Ok(unpacks.then(|| Box::new(flate2::read::MultiGzDecoder::new(bytes)) as Box<dyn Read>));
    }
    let packed =
        [&b"BZh"[..], b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"].iter().any(|magic| bytes.starts_with(magic));
    if packed {
        return Err(io::Error::other(
            "ADD can unpack only tar and tar.gz: use COPY, and RUN to unpack other archives",
        ));
    }
    Ok(None)
}

/// The receiving end of a stream, for code that blocks.
pub(super) struct Inlet {
    from: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Inlet {
    /// A reader for a stream, which is polled only as far as needed.
    pub(super) fn of(
        stream: impl futures_util::Stream<Item = Result<Bytes, bollard::errors::Error>> + Send + 'static,
    ) -> Self {
        let (to, from) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut stream = Box::pin(stream);
            while let Some(piece) = stream.next().await {
                if to.send(piece.map_err(io::Error::other)).await.is_err() {
                    break;
                }
            }
        });
        Self { from, piece: Bytes::new() }
    }
}

impl Read for Inlet {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.from.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

/// The sending end of a body, for code that blocks.
pub(super) struct Outlet(mpsc::Sender<io::Result<Bytes>>);

impl Outlet {
    /// An outlet, and the body that it fills.
    pub(super) fn new() -> (Self, impl futures_util::Stream<Item = io::Result<Bytes>> + Send) {
        let (to, from) = mpsc::channel(16);
        let stream =
            futures_util::stream::unfold(from, |mut from| async { Some((from.recv().await?, from)) });
        (Self(to), stream)
    }

    /// Ends the body with an error, because an incomplete archive must not count as complete.
    pub(super) fn fail(&self) {
        let _ = self.0.blocking_send(Err(io::Error::other("the copy was cancelled")));
    }

    /// The outlet with a buffer.
    pub(super) fn buffered(&self) -> io::BufWriter<Self> {
        io::BufWriter::with_capacity(PIECE, Self(self.0.clone()))
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap().map(|entry| entry.unwrap());
        entries.map(|entry| entry.path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_is_copied_is_bounded() {
        let cancel = CancellationToken::new();
        let mut packer = Packer::new(Vec::new(), CopiedAttributes::default(), 10, &cancel);
        packer.file(Path::new("/a/b"), b"12345", false).unwrap();
        packer.file(Path::new("/a/c"), b"12345", true).unwrap();
        assert!(packer.file(Path::new("/a/d"), b"1", true).unwrap_err().to_string().contains("more than 10"));
        let mut packer = Packer::new(Vec::new(), CopiedAttributes::default(), 10, &cancel);
        cancel.cancel();
        assert!(packer.dir(Path::new("/a")).is_err());
    }

    #[test]
    fn archives_are_told_from_other_files_and_taken_over() {
        let cancel = CancellationToken::new();
        let mut inner = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o644);
        inner.append_data(&mut header, "d/f", &b"abc"[..]).unwrap();
        let plain = inner.into_inner().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&plain).unwrap();
        let packed = packed.finish().unwrap();
        for bytes in [&plain, &packed] {
            let mut out = Vec::new();
            let mut packer = Packer::new(&mut out, CopiedAttributes::default(), 100, &cancel);
            let read = archive(bytes).unwrap().unwrap();
            assert_eq!(packer.take(read, &mut |path, _| Some(Path::new("/to").join(path))).unwrap(), 1);
            assert_eq!(packer.end().unwrap(), 3);
            assert_eq!(names(&out), ["to/d/f"]);
        }
        assert!(archive(b"text").unwrap().is_none());
        assert!(archive(b"BZh9").is_err());
        let mut only = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        only.write_all(b"text").unwrap();
        assert!(archive(&only.finish().unwrap()).unwrap().is_none(), "a packed file that is not an archive");
    }
}
