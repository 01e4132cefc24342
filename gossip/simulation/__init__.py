"""The simulator of whole clusters: hosts, network, faults and checks in virtual time, from one seed."""
