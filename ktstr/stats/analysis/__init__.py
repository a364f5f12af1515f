"""What one run says as a whole: what stands out, and how each scenario, topology and work type fared."""
