"""Simulated installations: each is a broker with devices, and what should be learnt from it."""

from __future__ import annotations

from tests.operate.learn.installations import factories, homes, meters, networks
from tests.operate.learn.installations.installation import Installation, Message

__all__ = ["ALL", "Installation", "Message", "factories", "homes"]

ALL = [
    homes.zigbee,
    homes.zigbee_elsewhere,
    homes.zigbee_others,
    homes.tasmota,
    homes.shelly_gen1,
    homes.shelly_gen2,
    homes.esphome,
    homes.homie,
    meters.smart_meter_adapter,
    meters.dsmr_reader,
    meters.vzlogger,
    meters.venus_os,
    meters.heishamon,
    networks.chirpstack,
    networks.the_things_stack,
    networks.zero_omitted,
    factories.factory(),
    factories.odd_values,
    factories.lying_id,
    factories.deep_topics,
    factories.junk,
    factories.two_models,
    factories.unset_clock,
]
