"""Restrictions that Postfix has and gatewayd does not have yet.

A list that names one is refused: skipping it silently would open a door that the administrator
believes shut. Take a name off here when its restriction is written.
"""

from __future__ import annotations

__all__ = ["PLANNED"]

_SUBJECTS = ("client", "reverse_client_hostname", "helo", "sender", "recipient")

PLANNED = {
    *(f"check_{subject}_{kind}_access" for subject in _SUBJECTS for kind in ("a", "mx", "ns")),
    "check_ccert_access",
    "check_client_access",
    "check_etrn_access",
    "check_helo_access",
    "check_policy_service",
    "check_recipient_access",
    "check_reverse_client_hostname_access",
    "check_sasl_access",
    "check_sender_access",
    "permit_dnswl_client",
    "permit_mx_backup",
    "permit_rhswl_client",
    "permit_tls_all_clientcerts",
    "permit_tls_clientcerts",
    "reject_authenticated_sender_login_mismatch",
    "reject_known_sender_login_mismatch",
    "reject_plaintext_session",
    "reject_rbl_client",
    "reject_rhsbl_client",
    "reject_rhsbl_helo",
    "reject_rhsbl_recipient",
    "reject_rhsbl_reverse_client",
    "reject_rhsbl_sender",
    "reject_sender_login_mismatch",
    "reject_unauthenticated_sender_login_mismatch",
    "reject_unknown_client_hostname",
    "reject_unknown_forward_client_hostname",
    "reject_unknown_helo_hostname",
    "reject_unknown_recipient_domain",
    "reject_unknown_reverse_client_hostname",
    "reject_unknown_sender_domain",
    "reject_unverified_recipient",
    "reject_unverified_sender",
    "sleep",
}
