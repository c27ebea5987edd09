//! What can go wrong here. Where clients depend on Docker's words, these are they.

use std::net::IpAddr;

use glassdock_trace::Aborted;

use crate::storage::StorageError;

/// What went wrong with a network.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what each is")]
pub enum Error {
    #[error("network {0} not found")]
    NotFound(String),
    #[error("network {0} is ambiguous ({1} matches found based on ID prefix)")]
    Ambiguous(String, usize),
    #[error("network with name {0} already exists")]
    NameTaken(String),
    #[error("invalid network name: {0:?}")]
    BadName(String),
    #[error("{0} is a pre-defined network and cannot be removed")]
    Builtin(String),
    #[error("operation is not permitted on predefined {0} network ")]
    BuiltinName(String),
    #[error("error while removing network: network {name} has active endpoints ({endpoints})")]
    InUse { name: String, id: String, endpoints: String },
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network: name a free one with --subnet"
    )]
    NoFreePool,
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    PoolOverlaps(String),
    #[error("no available addresses on this network's address pools: {0}")]
    NoFreeAddress(String),
    #[error("address already in use: {0}")]
    AddressTaken(IpAddr),
    #[error("invalid address {address}: it does not belong to the network's subnet {subnet}")]
    OutsideSubnet { address: IpAddr, subnet: String },
    #[error(
        "user specified IP address is supported only when connecting to networks with user configured subnets"
    )]
    NoSubnetOfUsers,
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    InNoSubnet(IpAddr),
    #[error("invalid network configuration: {0}")]
    Invalid(String),
    #[error(
        "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | \
         attachable | scope ] are not supported."
    )]
    OperatorFields,
    #[error("a configuration network cannot depend on another configuration network")]
    ConfigOfConfig,
    #[error(
        "user specified configurations are not supported if the network depends on a configuration network"
    )]
    OwnConfig,
    #[error("network driver options are not supported if the network depends on a configuration network")]
    OwnOptions,
    #[error("configuration network {0:?} does not exist")]
    NoConfig(String),
    #[error("error while removing network: configuration network {0:?} is in use")]
    ConfigInUse(String),
    #[error("cannot create endpoint on configuration-only network")]
    ConfigOnly,
    #[error("endpoint with name {name} already exists in network {network}")]
    AlreadyAttached { name: String, network: String },
    #[error("container {container} is not connected to the network {network}")]
    NotAttached { container: String, network: String },
    #[error("Bind for {host}:{port} failed: port is already allocated")]
    PortAllocated { host: std::net::IpAddr, port: u16 },
    #[error("failed to bind host port for {host}:{port}/{protocol}")]
    PortInUse {
        host: std::net::IpAddr,
        port: u16,
        protocol: crate::model::Protocol,
        #[source]
        source: std::io::Error,
    },
    #[error("driver failed programming external connectivity on endpoint {name} ({endpoint}): {source}")]
    Publish { name: String, endpoint: String, source: Box<Error> },
    #[error("bridge {bridge} belongs to {owner}: give this engine another with --bridge")]
    ForeignBridge { bridge: String, owner: String },
    #[error("network {network} is not available on this machine: {reason}")]
    Unavailable { network: String, reason: String },
    #[error("the state of network {key} can't be kept")]
    Storage {
        key: String,
        #[source]
        source: StorageError,
    },
    #[error(transparent)]
    Kernel(#[from] glassdock_kernel::Error),
    #[error(transparent)]
    Aborted(#[from] Aborted),
}

/// Which kind of answer an error is, for whoever has to choose a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// It is there, or in use, already.
    Conflict,
    /// The request makes no sense.
    Invalid,
    /// The request makes sense and is not allowed.
    Denied,
    /// The machine refused.
    Internal,
}

impl Error {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) | Self::NoConfig(_) => ErrorKind::NotFound,
            Self::NameTaken(_) => ErrorKind::Conflict,
            Self::Ambiguous(..)
            | Self::BadName(_)
            | Self::OutsideSubnet { .. }
            | Self::NoSubnetOfUsers
            | Self::InNoSubnet(_)
            | Self::Invalid(_) => ErrorKind::Invalid,
            Self::Builtin(_)
            | Self::BuiltinName(_)
            | Self::InUse { .. }
            | Self::OperatorFields
            | Self::ConfigOfConfig
            | Self::OwnConfig
            | Self::OwnOptions
            | Self::ConfigInUse(_)
            | Self::ConfigOnly
            | Self::PoolOverlaps(_)
            | Self::AddressTaken(_)
            | Self::AlreadyAttached { .. } => ErrorKind::Denied,
            Self::NotAttached { .. }
            | Self::NoFreePool
            | Self::NoFreeAddress(_)
            | Self::PortAllocated { .. }
            | Self::PortInUse { .. }
            | Self::Publish { .. }
            | Self::ForeignBridge { .. }
            | Self::Unavailable { .. }
            | Self::Storage { .. }
            | Self::Kernel(_)
            | Self::Aborted(_) => ErrorKind::Internal,
        }
    }
}
