"""Documents that repeat what a model is later measured with: found by shared n-grams with exam items."""
