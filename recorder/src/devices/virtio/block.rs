//! The block device (Virtual I/O Device 1.2, 5.2).

use super::Device;
use super::disk::Disk;
use super::request::{Broken, Request};
use crate::transfer::Transfers;
use std::io;
use trapline_formats::Gpa;

/// Bytes of a sector, the unit of the protocol.
pub const SECTOR: u64 = 512;
const QUEUE: u16 = 128;
/// Bytes of a request's header: type, reserved, sector.
const HEADER: usize = 16;

/// Features (5.2.3).
const SEG_MAX: u64 = 1 << 2;
const READ_ONLY: u64 = 1 << 5;
const FLUSH: u64 = 1 << 9;

/// Types of requests (5.2.6).
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH_REQUEST: u32 = 4;
const GET_ID: u32 = 8;
const ID_BYTES: usize = 20;

/// The status byte.
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// The device.
pub struct Block {
    disk: Disk,
    /// Its number among the disks.
    number: u32,
    configuration: Vec<u8>,
}

impl Block {
    /// A device for this disk.
    pub fn new(disk: Disk, number: u32) -> Self {
        let capacity = (disk.bytes() / SECTOR).to_le_bytes();
        let (size_max, seg_max) = (0u32.to_le_bytes(), u32::from(QUEUE - 2).to_le_bytes());
        let configuration = [&capacity[..], &size_max, &seg_max].concat();
        Self { disk, number, configuration }
    }

    fn holds(&self, offset: u64, length: usize) -> bool {
        let end = offset.checked_add(length as u64);
        (length as u64).is_multiple_of(SECTOR) && end.is_some_and(|end| end <= self.disk.bytes())
    }

    /// Reads into all buffers but the status byte.
    fn read(
        &self,
        request: &Request,
        length: usize,
        offset: u64,
        memory: &mut Transfers<'_>,
    ) -> Result<u32, u8> {
        if !self.holds(offset, length) {
            return Err(IO_ERROR);
        }
        let (mut at, mut left) = (offset, length);
        for buffer in &request.writable {
            let mut bytes = vec![0; buffer.length.min(left)];
            self.fill(buffer.gpa.0, at, &mut bytes, memory).map_err(|_| IO_ERROR)?;
            at += bytes.len() as u64;
            left -= bytes.len();
        }
        Ok(length as u32)
    }

    /// Reads into one buffer. What the image itself holds need not be in the trace.
    fn fill(&self, gpa: u64, offset: u64, bytes: &mut [u8], memory: &mut Transfers<'_>) -> io::Result<()> {
        let pieces = self.disk.read(offset, bytes)?;
        let mut done = 0;
        for piece in pieces {
            let part = &bytes[done..done + piece.length];
            let (to, from) = (Gpa(gpa + done as u64), offset + done as u64);
            let written = if piece.is_original && !self.disk.in_trace() {
                memory.write_from_file(to, part, self.number, from)
            } else {
                memory.write(to, part)
            };
            written.map_err(|_| io::ErrorKind::InvalidInput)?;
            done += piece.length;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), u8> {
        if self.disk.is_readonly() || !self.holds(offset, data.len()) {
            return Err(IO_ERROR);
        }
        self.disk.write(offset, data).map_err(|_| IO_ERROR)
    }

    /// The serial number, padded with zeros (5.2.6).
    fn identify(number: u32, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, u8> {
        let mut id = format!("trapline-disk{number}").into_bytes();
        id.resize(ID_BYTES, 0);
        let [buffer, _status] = request.writable.as_slice() else { return Err(IO_ERROR) };
        let bytes = &id[..id.len().min(buffer.length)];
        memory.write(buffer.gpa, bytes).map_err(|_| IO_ERROR)?;
        Ok(bytes.len() as u32)
    }
}

impl Device for Block {
    fn id(&self) -> u32 {
        2
    }

    fn name(&self) -> String {
        "virtio-blk".into()
    }

    fn features(&self) -> u64 {
        SEG_MAX | FLUSH | if self.disk.is_readonly() { READ_ONLY } else { 0 }
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE]
    }

    fn configuration(&self) -> &[u8] {
        &self.configuration
    }

    fn serve(&mut self, _: usize, request: &Request, memory: &mut Transfers<'_>) -> Result<u32, Broken> {
        let input = request.read(memory)?;
        let (Some((header, data)), Some(status)) =
            (input.split_first_chunk::<HEADER>(), request.writable.last())
        else {
            return Err(Broken);
        };
        let room: usize = request.writable.iter().map(|b| b.length).sum();
        if status.length == 0 {
            return Err(Broken);
        }
        let [a, b, c, d, _, _, _, _, sector @ ..] = *header;
        let offset = u64::from_le_bytes(sector).checked_mul(SECTOR);
        let result = match (u32::from_le_bytes([a, b, c, d]), offset) {
            (IN, Some(offset)) => self.read(request, room - 1, offset, memory),
            (OUT, Some(offset)) => self.write(offset, data).map(|()| 0),
            (FLUSH_REQUEST, _) => Ok(0),
            (GET_ID, _) => Self::identify(self.number, request, memory),
            (IN | OUT, None) => Err(IO_ERROR),
            _ => Err(UNSUPPORTED),
        };
        // The status is the last byte of all (5.2.6).
        let at = Gpa(status.gpa.0 + status.length as u64 - 1);
        memory.write(at, &[result.err().unwrap_or(OK)])?;
        Ok(result.map_or(1, |bytes| bytes + 1))
    }

    fn disk(&self) -> Option<&Disk> {
        Some(&self.disk)
    }
}
