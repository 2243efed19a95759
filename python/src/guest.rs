//! The guest that keyword arguments name.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use trapline_recorder::guest::firmware::Firmware;
use trapline_recorder::guest::kernel::{Kernel, Protocol};
use trapline_recorder::guest::multiboot::{Module, Multiboot};
use trapline_recorder::guest::{Boot, flat};

/// The guest, and what it is booted with: as the flags of the command line.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct GuestFlags {
    firmware: Option<PathBuf>,
    option_roms: Vec<PathBuf>,
    kernel: Option<PathBuf>,
    initrd: Option<PathBuf>,
    multiboot: Option<PathBuf>,
    modules: Vec<String>,
    flat: Option<PathBuf>,
    mode: u32,
    cmdline: String,
    protocol: String,
    memory: u64,
}

impl GuestFlags {
    /// The files that a multiboot kernel finds.
    pub(crate) fn modules(&self) -> Vec<Module> {
        self.modules.iter().map(|module| Module::of(module)).collect()
    }

    /// What is booted, if the flags make sense together.
    pub(crate) fn boot<'a>(&'a self, modules: &'a [Module]) -> PyResult<Boot<'a>> {
        let cmdline = &self.cmdline;
        let images = (&self.firmware, &self.kernel, &self.multiboot, &self.flat);
        let boot = match images {
            (Some(rom), image, None, None) => {
                let kernel = image.as_deref().map(|image| self.kernel(image)).transpose()?;
                Boot::Firmware(Firmware { rom, option_roms: &self.option_roms, kernel })
            }
            (None, Some(image), None, None) => Boot::Kernel(self.kernel(image)?),
            (None, None, Some(image), None) => Boot::Multiboot(Multiboot { image, modules, cmdline }),
            (None, None, None, Some(image)) => Boot::Flat(image, self.mode()?),
            _ => return Err(PyTypeError::new_err("name one guest: firmware, kernel, multiboot or flat")),
        };
        let pointless = |what, of| PyTypeError::new_err(format!("{what} goes with {of}"));
        if !self.option_roms.is_empty() && self.firmware.is_none() {
            return Err(pointless("option_roms", "firmware"));
        }
        if self.initrd.is_some() && self.kernel.is_none() {
            return Err(pointless("initrd", "kernel"));
        }
        if !self.modules.is_empty() && self.multiboot.is_none() {
            return Err(pointless("modules", "multiboot"));
        }
        if !cmdline.is_empty() && self.kernel.is_none() && self.multiboot.is_none() {
            return Err(pointless("cmdline", "kernel or multiboot"));
        }
        Ok(boot)
    }

    fn kernel<'a>(&'a self, image: &'a Path) -> PyResult<Kernel<'a>> {
        let protocol = self.protocol()?;
        Ok(Kernel { image, initrd: self.initrd.as_deref(), cmdline: &self.cmdline, protocol })
    }

    /// Guest memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    fn protocol(&self) -> PyResult<Protocol> {
        match self.protocol.as_str() {
            "auto" => Ok(Protocol::Auto),
            "pvh" => Ok(Protocol::Pvh),
            "linux64" => Ok(Protocol::Linux64),
            "linux32" => Ok(Protocol::Linux32),
            other => Err(PyValueError::new_err(format!(
                "protocol={other:?}: choose one of auto, pvh, linux64, linux32"
            ))),
        }
    }

    fn mode(&self) -> PyResult<flat::Mode> {
        match self.mode {
            16 => Ok(flat::Mode::Bits16),
            32 => Ok(flat::Mode::Bits32),
            64 => Ok(flat::Mode::Bits64),
            other => Err(PyValueError::new_err(format!("mode={other}: choose one of 16, 32, 64"))),
        }
    }
}
