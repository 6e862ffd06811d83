"""Withdrawal of consent: a patient's rows leave every table and version, and later ingests refuse the patient."""
