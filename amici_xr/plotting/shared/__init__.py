"""What figures share: style, paper, fonts, layout, colors, marks and names."""
