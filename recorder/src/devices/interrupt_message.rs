//! An interrupt message: what an I/O APIC, or a local APIC's command register, sends to local APICs (Intel SDM vol. 3,
//! 11.6.1; 82093AA data sheet, order 290566, 3.2.4: both registers have these fields in the same bits).

/// How the receiver takes a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// As an interrupt with the message's vector; lowest priority too, for here is one receiver.
    Fixed,
    /// As a system management interrupt.
    Smi,
    /// As a non-maskable interrupt.
    Nmi,
    /// As INIT.
    Init,
    /// As a start-up message to a processor that waits after INIT.
    StartUp,
    /// As an interrupt whose vector the 8259A gives.
    ExtInt,
    /// Reserved: nobody takes it.
    Reserved,
}

impl DeliveryMode {
    /// The mode in bits 10:8 of a register.
    pub fn of(register: u32) -> Self {
        match register >> 8 & 7 {
            0 | 1 => Self::Fixed,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The local APIC with this id.
    Physical(u32),
    /// The local APICs that this set names, in the model that each is set to.
    Logical(u32),
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptMessage {
    /// The vector, for modes that have one.
    pub vector: u8,
    /// How it is taken.
    pub mode: DeliveryMode,
    /// Level-triggered: its sender wants to hear of the EOI.
    pub level: bool,
    /// Whom it is for.
    pub destination: Destination,
}
