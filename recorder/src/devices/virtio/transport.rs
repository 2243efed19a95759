//! The registers by which a driver finds a device, agrees with it on features and tells it where its queues are (Virtual I/O
//! Device 1.2, 4.2.2: virtio over MMIO, version 2).

use super::request::{Broken, Request};
use super::{Device, FEATURE_VERSION_1};
use crate::platform::Time;
use crate::transfer::Transfers;
use virtio_queue::{Queue, QueueT};

/// Bytes of registers, configuration space included.
pub const LENGTH: u64 = 0x1000;
/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
/// "TRAP".
const VENDOR: u32 = 0x5041_5254;
const CONFIGURATION: u64 = 0x100;

/// Bits of the device status (2.1).
const DRIVER_OK: u32 = 4;
const NEEDS_RESET: u32 = 64;

/// Bits of the interrupt status (4.2.2).
const USED_BUFFER: u32 = 1;
const CONFIGURATION_CHANGED: u32 = 2;

/// What the registers are called: (first byte, first byte after it, name).
pub const NAMES: [(u64, u64, &str); 26] = [
    (0x000, 0x004, "MagicValue"),
    (0x004, 0x008, "Version"),
    (0x008, 0x00C, "DeviceID"),
    (0x00C, 0x010, "VendorID"),
    (0x010, 0x014, "DeviceFeatures"),
    (0x014, 0x018, "DeviceFeaturesSel"),
    (0x020, 0x024, "DriverFeatures"),
    (0x024, 0x028, "DriverFeaturesSel"),
    (0x030, 0x034, "QueueSel"),
    (0x034, 0x038, "QueueNumMax"),
    (0x038, 0x03C, "QueueNum"),
    (0x044, 0x048, "QueueReady"),
    (0x050, 0x054, "QueueNotify"),
    (0x060, 0x064, "InterruptStatus"),
    (0x064, 0x068, "InterruptACK"),
    (0x070, 0x074, "Status"),
    (0x080, 0x084, "QueueDescLow"),
    (0x084, 0x088, "QueueDescHigh"),
    (0x090, 0x094, "QueueDriverLow"),
    (0x094, 0x098, "QueueDriverHigh"),
    (0x0A0, 0x0A4, "QueueDeviceLow"),
    (0x0A4, 0x0A8, "QueueDeviceHigh"),
    (0x0AC, 0x0B0, "SHMSel"),
    (0x0B0, 0x0C0, "SHM"),
    (0x0FC, 0x100, "ConfigGeneration"),
    (0x100, 0x1000, "Config"),
];

/// A device, and its registers. Without a device, a placeholder that no driver takes.
pub(super) struct Transport {
    device: Option<Box<dyn Device>>,
    queues: Vec<Queue>,
    /// Queues that there may be requests in, by bit.
    filled: u32,
    status: u32,
    interrupt: u32,
    driver_features: u64,
    feature_half: [u32; 2],
    selected: u32,
}

impl Transport {
    pub(super) fn new(device: Option<Box<dyn Device>>) -> Self {
        let queues = device.as_ref().map(|d| queues(d.as_ref())).unwrap_or_default();
        Self {
            device,
            queues,
            filled: 0,
            status: 0,
            interrupt: 0,
            driver_features: 0,
            feature_half: [0; 2],
            selected: 0,
        }
    }

    pub(super) fn device(&self) -> Option<&dyn Device> {
        self.device.as_deref()
    }

    pub(super) fn device_mut(&mut self) -> Option<&mut dyn Device> {
        self.device.as_mut().map(|device| &mut **device as _)
    }

    /// The level of its interrupt line.
    pub(super) fn interrupt(&self) -> bool {
        self.interrupt != 0
    }

    /// Whether its device has something to do for the driver.
    pub(super) fn has_work(&self) -> bool {
        let Some(device) = &self.device else { return false };
        self.status & (DRIVER_OK | NEEDS_RESET) == DRIVER_OK
            && (0..self.queues.len()).any(|queue| self.is_filled(queue) && device.wants(queue))
    }

    fn is_filled(&self, queue: usize) -> bool {
        self.filled >> queue & 1 != 0
    }

    /// Lets the device work: as many requests of each queue as it has entries. What is sent goes before what is received, which
    /// may answer it.
    pub(super) fn work(&mut self, memory: &mut Transfers<'_>) {
        if !self.has_work() {
            return;
        }
        for queue in (0..self.queues.len()).rev() {
            if self.is_filled(queue) && self.serve(queue, memory).is_err() {
                self.status |= NEEDS_RESET;
                self.interrupt |= CONFIGURATION_CHANGED;
                return;
            }
        }
    }

    fn serve(&mut self, number: usize, memory: &mut Transfers<'_>) -> Result<(), Broken> {
        let (Some(device), Some(queue)) = (&mut self.device, self.queues.get_mut(number)) else {
            return Ok(());
        };
        for _ in 0..queue.max_size() {
            if !device.wants(number) {
                return Ok(());
            }
            let Some(request) = Request::next(queue, memory)? else {
                self.filled &= !(1 << number);
                return Ok(());
            };
            let bytes = device.serve(number, &request, memory)?;
            request.complete(queue, memory, bytes)?;
            self.interrupt |= USED_BUFFER;
        }
        Ok(())
    }

    /// Reads a register; the configuration space byte by byte.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some(at) = offset.checked_sub(CONFIGURATION) {
            let space = self.device.as_ref().map(|d| d.configuration()).unwrap_or_default();
            let bytes = space.iter().skip(at as usize).chain(std::iter::repeat(&0));
            data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            return;
        }
        // Registers are read in whole (4.2.2.2).
        let value = if data.len() == 4 && offset.is_multiple_of(4) { self.register(offset) } else { 0 };
        data.iter_mut().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
    }

    fn register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.selected as usize);
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x008 => self.device.as_ref().map_or(0, |d| d.id()),
            0x00C => VENDOR,
            0x010 => half(self.features(), self.feature_half[0]),
            0x034 => queue.map_or(0, |q| q.max_size().into()),
            0x044 => queue.is_some_and(QueueT::ready).into(),
            0x060 => self.interrupt,
            0x070 => self.status,
            // No shared memory: its length is -1 (4.2.2.1).
            0x0B0 | 0x0B4 => u32::MAX,
            _ => 0,
        }
    }

    fn features(&self) -> u64 {
        self.device.as_ref().map_or(0, |d| d.features() | FEATURE_VERSION_1)
    }

    /// Writes a register.
    pub(super) fn write(&mut self, now: Time, offset: u64, data: &[u8]) {
        let ([a, b, c, d], true) = (data, offset.is_multiple_of(4) && offset < CONFIGURATION) else { return };
        let value = u32::from_le_bytes([*a, *b, *c, *d]);
        match offset {
            0x014 => self.feature_half[0] = value,
            0x020 => self.accept(value),
            0x024 => self.feature_half[1] = value,
            0x030 => self.selected = value,
            0x050 => self.notify(now, value as usize),
            0x064 => self.interrupt &= !value,
            0x070 if value == 0 => self.reset(),
            0x070 => self.set_status(value),
            _ => self.set_queue(offset, value),
        }
    }

    fn notify(&mut self, now: Time, queue: usize) {
        if queue < self.queues.len() {
            self.filled |= 1 << queue;
            if let Some(device) = &mut self.device {
                device.notified(now, queue);
            }
        }
    }

    fn accept(&mut self, value: u32) {
        let shift = match self.feature_half[1] {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.driver_features = self.driver_features & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
    }

    /// A driver that accepts what was not offered, or not version 1, sees its FEATURES_OK refused (3.1.1).
    fn set_status(&mut self, value: u32) {
        const FEATURES_OK: u32 = 8;
        let is_fine =
            self.driver_features & !self.features() == 0 && self.driver_features & FEATURE_VERSION_1 != 0;
        self.status = if is_fine { value } else { value & !FEATURES_OK } | self.status & NEEDS_RESET;
    }

    fn set_queue(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.queues.get_mut(self.selected as usize) else { return };
        match offset {
            0x038 => queue.set_size(value.try_into().unwrap_or(0)),
            0x044 => queue.set_ready(value == 1),
            0x080 => queue.set_desc_table_address(Some(value), None),
            0x084 => queue.set_desc_table_address(None, Some(value)),
            0x090 => queue.set_avail_ring_address(Some(value), None),
            0x094 => queue.set_avail_ring_address(None, Some(value)),
            0x0A0 => queue.set_used_ring_address(Some(value), None),
            0x0A4 => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    fn reset(&mut self) {
        if let Some(device) = &mut self.device {
            device.reset();
        }
        *self = Self::new(self.device.take());
    }
}

fn half(value: u64, which: u32) -> u32 {
    match which {
        0 => value as u32,
        1 => (value >> 32) as u32,
        _ => 0,
    }
}

fn queues(device: &dyn Device) -> Vec<Queue> {
    // Sizes are constants of ours, and powers of two.
    device.queue_sizes().iter().filter_map(|&size| Queue::new(size).ok()).collect()
}
