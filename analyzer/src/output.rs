//! Files that are written completely or not at all.

use crate::error::AnalyzerError;
use std::fs::File;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file in the making: its content goes to a temporary file beside it, readable by its owner only, for what the guest
/// did is in it. Dropped before [`Output::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    temporary: NamedTempFile,
    replace: bool,
}

impl Output {
    /// Refuses at once to replace a file, unless `replace` is set.
    pub(crate) fn create(path: &Path, replace: bool) -> Result<Self, AnalyzerError> {
        if !replace && path.symlink_metadata().is_ok() {
            return Err(AnalyzerError::Exists { path: path.to_owned() });
        }
        let directory = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary =
            tempfile::Builder::new().prefix(".trapline-").suffix(".part").tempfile_in(directory).map_err(
                |source| AnalyzerError::Output {
                    action: "create a temporary file beside",
                    path: path.to_owned(),
                    source,
                },
            )?;
        Ok(Self { path: path.to_owned(), temporary, replace })
    }

    /// Where to write.
    pub(crate) fn file(&self) -> &File {
        self.temporary.as_file()
    }

    /// Gives the file its name. A file that appeared under this name meanwhile is not replaced either.
    pub(crate) fn finish(self) -> Result<(), AnalyzerError> {
        let renamed = if self.replace {
            self.temporary.persist(&self.path)
        } else {
            self.temporary.persist_noclobber(&self.path)
        };
        match renamed {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(AnalyzerError::Exists { path: self.path })
            }
            Err(error) => {
                Err(AnalyzerError::Output { action: "write", path: self.path, source: error.error })
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_replaced_only_when_asked_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let write = |replace| {
            let output = Output::create(&path, replace)?;
            output.file().write_all(b"new").unwrap();
            output.finish()
        };
        std::fs::write(&path, b"old").unwrap();
        assert!(matches!(write(false), Err(AnalyzerError::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write(true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");

        let output = Output::create(&dir.path().join("other"), false).unwrap();
        std::fs::write(dir.path().join("other"), b"quicker").unwrap();
        assert!(matches!(output.finish(), Err(AnalyzerError::Exists { .. })));
        drop(Output::create(&dir.path().join("third"), false).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_that_does_not_exist_is_told() {
        let error = Output::create(Path::new("/nowhere/at/all"), false).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot create a temporary file beside /nowhere/at/all: "),
            "{error}"
        );
    }
}
